# Sourced by an interactive zsh: a tab prints what would complete the line, each match as <<MATCH>>, and ends the shell.
fpath=($COMPLETIONS $fpath)
autoload -U compinit
compinit -u -D

compadd() {
    local -a found given=("$@")
    local suffix=
    integer at=${given[(I)-*S]}
    if ((at)); then suffix=${given[at + 1]}; fi
    # With one of these it only sorts matches into variables, for another call to offer.
    if [[ ${given[(I)-[OAD]]} == 0 ]]; then
        builtin compadd -A found "$@"
        print -rl -- "<<"$^found$suffix">>"
    fi
    builtin compadd "$@"
}

ask() {
    zle complete-word
    print -r -- "<<END"">>"
    exit
}
zle -N ask
bindkey "^I" ask
PROMPT= PS2=
stty -echo
print "REA""DY"
