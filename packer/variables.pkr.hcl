variable "base" {
  type        = string
  description = "What the AMI is made from: al2023 or ubuntu-24.04."
  default     = "al2023"
  validation {
    condition     = contains(["al2023", "ubuntu-24.04"], var.base)
    error_message = "The base must be al2023 or ubuntu-24.04."
  }
}

variable "arch" {
  type        = string
  description = "amd64 or arm64."
  default     = "amd64"
  validation {
    condition     = contains(["amd64", "arm64"], var.arch)
    error_message = "The arch must be amd64 or arm64."
  }
}

variable "runner_users" {
  type        = list(string)
  description = "Whose config.json gets the logins. Without any: root and the user that the base's images log in as."
  default     = []
}

variable "registries" {
  type        = list(string)
  description = "Registries by host, besides those of rootfs/etc/ecrlogind/config.toml."
  default     = []
}

variable "runner_units" {
  type        = list(string)
  description = "Units of runners that wait for the logins, as far as ecrlogind.service does not know them."
  default     = []
}

variable "wheelhouse" {
  type        = string
  description = "What `make wheelhouse` made."
  default     = "dist/wheelhouse"
}

variable "package" {
  type        = string
  description = "What pip installs from its index, where the wheelhouse has no requirements.txt: a version, or a wheel in it."
  default     = "ecrlogind"
}

variable "region" {
  type        = string
  description = "Where the AMI is built."
  default     = "us-east-1"
}

variable "copy_to" {
  type        = list(string)
  description = "More regions that the AMI is copied to. \"self\" in its settings is each instance's own region."
  default     = []
}

variable "subnet_id" {
  type        = string
  description = "Where the build instance runs; without it, in the default VPC."
  default     = null
}

variable "spot_instance_types" {
  type        = list(string)
  description = "Without any: small ones of the arch."
  default     = []
}

variable "volume_size" {
  type        = number
  description = "Of the root volume, in GiB."
  default     = 16
}

variable "kms_key_id" {
  type        = string
  description = "What the root volume is encrypted by; without it, the account's key for EBS."
  default     = null
}

variable "name" {
  type        = string
  description = "What the AMIs' names begin with."
  default     = "ecrlogind-runner"
}

variable "tags" {
  type        = map(string)
  description = "More tags for the AMI, its snapshots and what the build makes on its way."
  default     = {}
}

variable "docker_base" {
  type        = string
  description = "The image that the docker builder starts from. It needs systemd."
  default     = "ecrlogind-base:latest"
}

variable "docker_pull" {
  type        = bool
  description = "Whether that image has to be pulled."
  default     = false
}

variable "docker_options" {
  type        = list(string)
  description = "Options of `docker run` for the build's container."
  default     = ["--network=none"]
}

variable "manifest" {
  type        = string
  description = "Where the ids of what was built are written to."
  default     = "dist/packer-manifest.json"
}
