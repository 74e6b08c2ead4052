# The same image as a container image, by the same provisioners: how the tests bake for real, and a look at an image
# without an AWS account.
#
#   packer build -only='docker.*' packer/
source "docker" "runner" {
  image   = var.docker_base
  pull    = var.docker_pull
  commit  = true
  changes = ["ENTRYPOINT []", "CMD [\"/sbin/init\"]"]

  run_command = concat(["-d", "-i", "-t", "--entrypoint=/bin/sh"], var.docker_options, ["--", "{{ .Image }}"])
}
