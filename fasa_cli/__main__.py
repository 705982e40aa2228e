"""`python -m fasa_cli`, the same command as `fasa`."""

from fasa_cli.app import main

if __name__ == "__main__":
    main()
