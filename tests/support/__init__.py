"""What tests share: tiny models, doubles and drawn pictures."""
