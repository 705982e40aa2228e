"""A scan and what comes after it: photos found, analysed, recorded, resumed, verified, bundled.

Not called `scan`, because that is the function `fasa_cli.scan`.
"""
