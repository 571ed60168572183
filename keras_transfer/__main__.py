"""`python -m keras_transfer` is `keras-transfer`."""

from .cli.app import main

if __name__ == "__main__":
    main()
