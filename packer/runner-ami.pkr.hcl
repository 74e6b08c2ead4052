# An AMI whose instances come up logged in to their registries: nothing to download, nothing to configure per region.
#
#   make wheelhouse
#   packer init packer/
#   packer build -only='amazon-ebs.*' -var base=ubuntu-24.04 -var arch=arm64 packer/
#
# For a template of your own, the provisioners at the end are all that is needed; see docs/guides/packer.md.

locals {
  bases = {
    "al2023" = {
      owners   = ["amazon"]
      name     = "al2023-ami-2023.*-kernel-*"
      ssh_user = "ec2-user"
      device   = "/dev/xvda"
    }
    "ubuntu-24.04" = {
      owners   = ["099720109477"]
      name     = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-*-server-*"
      ssh_user = "ubuntu"
      device   = "/dev/sda1"
    }
  }
  # What EC2 calls an architecture, and where it runs.
  archs = {
    "amd64" = { ec2 = "x86_64", instances = ["m7i.large", "m6i.large", "m6a.large", "m5.large"] }
    "arm64" = { ec2 = "arm64", instances = ["m7g.large", "m6g.large", "c7g.large", "c6g.large"] }
  }
  base      = local.bases[var.base]
  arch      = local.archs[var.arch]
  instances = length(var.spot_instance_types) > 0 ? var.spot_instance_types : local.arch.instances
  users     = length(var.runner_users) > 0 ? var.runner_users : ["root", local.base.ssh_user]
  partition = substr(var.region, 0, 3) == "cn-" ? "aws-cn" : substr(var.region, 0, 7) == "us-gov-" ? "aws-us-gov" : "aws"
  tags      = merge({ Name = "${var.name}-${var.base}-${var.arch}", Base = var.base, ManagedBy = "packer" }, var.tags)

  # As root in any builder; the scripts' variables are no secrets and may stand on a command line.
  as_root = "as=; [ \"$(id -u)\" = 0 ] || as=sudo; $as env {{ .Vars }} bash {{ .Path }}"
}

source "amazon-ebs" "runner" {
  region        = var.region
  ami_name      = "${var.name}-${var.base}-${var.arch}-{{ timestamp }}"
  ami_regions   = var.copy_to
  subnet_id     = var.subnet_id
  ssh_username  = local.base.ssh_user
  ssh_interface = "public_ip"

  source_ami_filter {
    owners      = local.base.owners
    most_recent = true
    filters = {
      name                = local.base.name
      architecture        = local.arch.ec2
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # Spot, the cheapest of these.
  spot_price          = "auto"
  spot_instance_types = local.instances
  spot_tags           = local.tags

  # The build instance gets a role of its own for as long as it runs, which may get logins and pull, nothing else.
  temporary_iam_instance_profile_policy_document {
    Version = "2012-10-17"
    Statement {
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = ["*"]
    }
    Statement {
      Effect   = "Allow"
      Action   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = ["arn:${local.partition}:ecr:*:*:repository/*"]
    }
  }

  # IMDSv2 alone: for the build instance, and for every instance of the AMI.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"

  encrypt_boot = true
  kms_key_id   = var.kms_key_id
  launch_block_device_mappings {
    device_name           = local.base.device
    volume_type           = "gp3"
    volume_size           = var.volume_size
    throughput            = 125
    iops                  = 3000
    encrypted             = true
    delete_on_termination = true
  }

  # The key that Packer came in by does not stay.
  ssh_clear_authorized_keys = true

  tags          = merge(local.tags, { SourceAMI = "{{ .SourceAMI }}", SourceAMIName = "{{ .SourceAMIName }}" })
  snapshot_tags = local.tags
  run_tags      = local.tags
}

build {
  sources = ["source.amazon-ebs.runner", "source.docker.runner"]

  provisioner "shell" {
    # In a container nobody starts cloud-init, and to wait for it would not end; on a host that is well it may end
    # "degraded".
    inline = [
      "if [ -d /run/systemd/system ] && command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || true; fi",
      "mkdir -p /tmp/ecrlogind/wheelhouse /tmp/ecrlogind/rootfs",
    ]
  }
  provisioner "file" {
    source      = "${var.wheelhouse}/"
    destination = "/tmp/ecrlogind/wheelhouse"
  }
  provisioner "file" {
    source      = "${path.root}/rootfs/"
    destination = "/tmp/ecrlogind/rootfs"
  }
  provisioner "shell" {
    script          = "${path.root}/provision.sh"
    execute_command = local.as_root
    environment_vars = [
      "RUNNER_USERS=${join(" ", local.users)}",
      "REGISTRIES=${join(" ", var.registries)}",
      "RUNNER_UNITS=${join(" ", var.runner_units)}",
      "PACKAGE=${var.package}",
    ]
  }

  # What else your runners need goes here: the runner itself, docker, images that are pulled after `ecrlogind login`.

  provisioner "shell" {
    script          = "${path.root}/scrub.sh"
    execute_command = local.as_root
  }
  provisioner "shell" {
    script          = "${path.root}/verify.sh"
    execute_command = local.as_root
  }

  post-processor "manifest" {
    output = var.manifest
  }
}
