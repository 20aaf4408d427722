"""Tables of items, packed datasets, and the formats that others use."""
