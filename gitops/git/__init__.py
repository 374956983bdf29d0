"""The config repository as git has it: objects, trees, packs, fetch and push. Nothing here knows what a service is."""
