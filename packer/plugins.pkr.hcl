# Apart from the rest: Packer 1.7 and newer get their plugins by `packer init`; 1.6.6 has them built in and cannot read
# this block.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
    docker = {
      source  = "github.com/hashicorp/docker"
      version = ">= 1.1.0"
    }
  }
}
