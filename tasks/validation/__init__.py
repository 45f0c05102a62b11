"""Parts of the step `validate`: predictions of the exported engine on the challenge set, and their figures."""
