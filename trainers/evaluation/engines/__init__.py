"""Where responses come from: this process, a server, or servers of our own; one small interface (`base`)."""
