"""Says why a pull would fail on this host: evidence first (`gather`), judgement second (`checks`, pure)."""
