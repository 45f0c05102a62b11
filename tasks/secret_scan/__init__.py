"""Secrets in files and in git's history: recovery phrases and keys of wallets by our rules, others by detect-secrets.

Nothing here prints or returns a secret: a finding names the file, the line and the kind.
"""
