module "runners" {
  source = "github-aws-runners/github-runner/aws"

  aws_region = var.aws_region
  vpc_id     = var.vpc_id
  subnet_ids = var.subnet_ids
  prefix     = "ecr"
  github_app = var.github_app

  # An image with ecrlogind in it, and everything else that user data would install.
  enable_userdata = false
  ami = {
    owners = ["self"]
    filter = { name = ["github-runner-*"], state = ["available"] }
  }

  enable_ephemeral_runners      = true
  instance_target_capacity_type = "spot"
  runner_run_as                 = "ec2-user"

  # What `ecrlogind policy` prints as "instance_role".
  runner_iam_role_managed_policy_arns = [aws_iam_policy.ecr.arn]
}

resource "aws_iam_policy" "ecr" {
  name   = "ecrlogind"
  policy = jsonencode(jsondecode(file("${path.module}/policies.json")).instance_role)
}
