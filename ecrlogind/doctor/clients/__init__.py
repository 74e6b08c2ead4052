"""What docker, podman and GitLab Runner would each do to find a login, as observed with the real ones.

Which file, which key, which helper, what wins. Pure: it goes by what was gathered.
"""
