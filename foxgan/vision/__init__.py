"""What foxgan sees: finding heads in photos, cutting them out, judging them, and drawing animals whose heads are known."""
