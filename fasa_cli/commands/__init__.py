"""The subcommands: parse, call the library, show. They compute nothing themselves."""
