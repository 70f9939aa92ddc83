"""Let ``python -m frameworks`` run the frameworks."""

import sys

from frameworks.run import main

sys.exit(main())
