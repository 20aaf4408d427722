"""Where photos come from: one file per source."""
