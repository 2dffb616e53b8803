"""The foundation: errors, files, formats, the Hub, YAML schemas, requests and events. It imports no other layer."""
