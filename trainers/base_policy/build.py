"""Public name of `trainers/models/base_policy/build.py`.

python -m simko.trainers.base_policy.build --output DIR
"""

from ..models.base_policy.build import main

if __name__ == "__main__":
    main()
