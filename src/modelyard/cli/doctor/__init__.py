"""The doctor's live half: a package is started, asked and measured on this machine."""
