"""`python -m adamw_scale` is `adamw-scale`."""

from adamw_scale.cli.main import main

if __name__ == "__main__":
    main()
