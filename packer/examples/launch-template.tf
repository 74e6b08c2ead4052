# Instances of the baked AMI. The role in the profile is from packer/iam/instance-profile.json.

data "aws_ami" "runner" {
  owners      = ["self"]
  most_recent = true

  filter {
    name   = "name"
    values = ["ecrlogind-runner-al2023-amd64-*"]
  }
}

resource "aws_iam_role" "runner" {
  name = "runner"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy" "ecr" {
  name   = "ecrlogind"
  role   = aws_iam_role.runner.name
  policy = file("${path.module}/../iam/instance-profile.json")
}

resource "aws_iam_instance_profile" "runner" {
  name = "runner"
  role = aws_iam_role.runner.name
}

resource "aws_launch_template" "runner" {
  name_prefix = "runner-"
  image_id    = data.aws_ami.runner.id
  user_data   = filebase64("${path.module}/user-data.sh")

  iam_instance_profile {
    name = aws_iam_instance_profile.runner.name
  }

  # Jobs in containers do not reach IMDS through one hop; ecrlogind, on the host, does.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  instance_market_options {
    market_type = "spot"
  }
}
