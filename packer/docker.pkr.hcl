# The same image as a container image, by the same provisioners: how the tests bake for real, and a look at an image
# without an AWS account.
#
#   packer build -only='docker.*' packer/
source "docker" "runner" {
  image   = var.docker_base
  pull    = var.docker_pull
  commit  = true
  changes = ["CMD [\"/sbin/init\"]"]

  # Not by --entrypoint, which `commit` would keep for good.
  run_command = concat(["-d", "-i", "-t"], var.docker_options, ["--", "{{ .Image }}", "/bin/sh"])
}
