"""Let ``python -m frameworks`` run the adapters."""

import sys

from frameworks.runner import main

sys.exit(main())
