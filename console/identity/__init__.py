"""Who somebody is, by the word of an identity provider. Imported only where one is configured."""
