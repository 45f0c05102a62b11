"""Parts of the step `synthesize`: prompts, two engines that make pictures, what is kept of them, the contact sheet."""
