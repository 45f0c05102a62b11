"""The model card of a release: docs/model-card.md for people, model_card.json for the subnet."""
