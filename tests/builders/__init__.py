"""What tests of several modules are made of: small series, files, configs, runs, and ways to call commands."""
