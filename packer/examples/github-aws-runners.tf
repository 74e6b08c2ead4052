# Ephemeral spot runners of the github-aws-runners module, from the baked AMI. The module's own user data starts the
# runner; cloud-init runs it after ecrlogind is ready, so nothing has to wait in here.

module "runners" {
  source  = "github-aws-runners/github-runner/aws"
  version = "~> 6.0"

  # ... what the module needs besides: vpc_id, subnet_ids, github_app, webhook_lambda_zip, prefix

  aws_region = "eu-west-1"

  ami = {
    owners = ["self"]
    filter = { name = ["ecrlogind-runner-al2023-amd64-*"], state = ["available"] }
  }
  runner_run_as                 = "ec2-user" # one of the image's runner_users
  enable_ephemeral_runners      = true
  instance_target_capacity_type = "spot"

  # May get logins and pull.
  runner_iam_role_managed_policy_arns = [aws_iam_policy.ecr.arn]

  runner_metadata_options = {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }
}

resource "aws_iam_policy" "ecr" {
  name   = "ecrlogind-runner"
  policy = file("${path.module}/../iam/instance-profile.json")
}
