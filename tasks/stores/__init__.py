"""Databases and object store of section `stores`: their addresses with secrets, and whether they can be used."""
