"""Mining: what the cascade finds hard, chosen for people to label."""
