"""One file format without pickle and flat states to put into it, knowing no class of ours."""
