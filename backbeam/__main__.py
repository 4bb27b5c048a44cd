"""Run the command line: `python -m backbeam` is the command `backbeam`."""

from pipeline.cli.main import main

if __name__ == "__main__":
    main()
