"""Scripts for other environments' interpreters: they import nothing of this project and get a folder as argument."""
