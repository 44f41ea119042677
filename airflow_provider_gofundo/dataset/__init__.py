"""What lands: parts of records and the manifest that makes them a complete dataset."""
