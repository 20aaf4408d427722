"""Looking after a workspace: what can go, what is damaged, what was made by hand, and photos that must not be used."""
