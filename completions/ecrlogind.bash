# bash completion for ecrlogind(8)

_ecrlogind() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' at words
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            -*) ;;
            *) command=${COMP_WORDS[at]} && break ;;
        esac
    done
    case $before in
        --config) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
        --state) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$word") && return ;;
        --user) mapfile -t COMPREPLY < <(compgen -u -- "$word") && return ;;
        --timeout) mapfile -t COMPREPLY < <(compgen -W '10s 30s 1min 2min 5min' -- "$word") && return ;;
    esac
    case $command in
        '') words='run login logout wait status export check credential-provider-config doctor policy --version' ;;
        run | login | logout | credential-provider-config) words='--config --state' ;;
        wait) words="--timeout --state $(_ecrlogind_hosts)" ;;
        status) words='--json --watch --state' ;;
        check) words='--print --config --state' ;;
        doctor) words="--user --json --config --state $(_ecrlogind_hosts /)" ;;
        policy) words='--write-access --json --terraform --config --state' ;;
        export)
            words=--state
            if [[ $word != -* ]]; then compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$word") && return; fi ;;
        *) return ;;
    esac
    [[ $command != doctor || $word == -* ]] || compopt -o nospace # an image goes on behind its host
    mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$word")
}

# SUFFIX: the hosts that the keeper knows, each with SUFFIX behind it.
_ecrlogind_hosts() {
    ecrlogind status --json 2>/dev/null | sed -n "s|^.*\"host\": \"\\([^\"]*\\)\".*\$|\\1${1:-}|p" | sort -u
}

complete -F _ecrlogind ecrlogind
