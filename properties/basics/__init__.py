"""What every room stands on: formats, errors, versions, where the subject is just now."""
