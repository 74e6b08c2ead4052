# fish completion for ecrlogind(8)

set -l commands run login logout wait status export check credential-provider-config doctor policy

# The hosts that the keeper knows.
function __ecrlogind_hosts
    ecrlogind status --json 2>/dev/null | string replace --filter --regex '^.*"host": "([^"]*)".*$' '$1' | sort -u
end

complete -c ecrlogind -f
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -l version -d 'Show the version'
complete -c ecrlogind -l help -d 'Show what it takes, with an example'
complete -c ecrlogind -n "__fish_seen_subcommand_from $commands" -l state -x -a '(__fish_complete_directories)' -d 'The state directory'
complete -c ecrlogind -n "__fish_seen_subcommand_from run login logout check credential-provider-config doctor policy" -l config -r -F -d 'The settings'

complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a run -d 'Run the daemon in the foreground'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a login -d 'Run one pass, then exit'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a logout -d 'Take our logins out again'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a wait -d 'Wait until the logins are in place'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a status -d 'Say how the logins stand'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a export -d "Write the caller's logins as DIR/config.json"
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a check -d 'Say what is wrong with the settings'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a credential-provider-config -d "Print kubelet's CredentialProviderConfig"
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Say why a pull would fail on this host'
complete -c ecrlogind -n "not __fish_seen_subcommand_from $commands" -a policy -d 'Print the least IAM policies'

complete -c ecrlogind -n "__fish_seen_subcommand_from wait" -l timeout -x -a '10s 30s 1min 2min 5min' -d 'How long'
complete -c ecrlogind -n "__fish_seen_subcommand_from wait" -a '(__ecrlogind_hosts)' -d Registry
complete -c ecrlogind -n "__fish_seen_subcommand_from status doctor policy" -l json -d 'As JSON'
complete -c ecrlogind -n "__fish_seen_subcommand_from status" -l watch -d 'Print it anew each second'
complete -c ecrlogind -n "__fish_seen_subcommand_from check" -l print -d 'Print the settings in effect'
complete -c ecrlogind -n "__fish_seen_subcommand_from export" -a '(__fish_complete_directories)'
complete -c ecrlogind -n "__fish_seen_subcommand_from doctor" -l user -x -a '(__fish_complete_users)' -d 'For whom'
complete -c ecrlogind -n "__fish_seen_subcommand_from doctor" -a '(__ecrlogind_hosts)/' -d Registry
complete -c ecrlogind -n "__fish_seen_subcommand_from policy" -l write-access -d 'Allow pushing too'
complete -c ecrlogind -n "__fish_seen_subcommand_from policy" -l terraform -d 'As Terraform'
