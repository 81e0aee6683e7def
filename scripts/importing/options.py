"""The values of quantization_config: each is checked when it is read, and an error names it."""
from json_lines import BadInput, shortened

KINDS = {int: "a whole number", bool: "true or false", str: "a text", list: "a list", dict: "an object"}
NOTHING = object()


class Options:
    """A map of JSON, and what stands before its keys in messages: "config.json: quantization_config."."""

    def __init__(self, values, prefix):
        self.values, self.prefix = values, prefix

    def fail(self, key, problem):
        value = f"is {shortened(self.values[key])}" if key in self.values else "is missing"
        raise BadInput(f"{self.prefix}{key} {value}, {problem}")

    def get(self, key, kind, default=NOTHING):
        """Returns a value; where it is absent or null, the default."""
        value = self.values.get(key)
        if value is None and default is not NOTHING:
            return default
        if type(value) is not kind:
            self.fail(key, f"not {KINDS[kind]}; correct it")
        return value

    def one_of(self, key, choices, default=NOTHING):
        value = self.get(key, type(choices[0]), default)
        if value not in choices and value is not default:
            self.fail(key, f"and only {', '.join(map(str, choices))} can be imported")
        return value

    def size(self, key, default=NOTHING):
        """Returns a size above 0; where it is absent, null or -1, the default."""
        if self.values.get(key) in (None, -1) and default is not NOTHING:
            return default
        value = self.get(key, int)
        if not 1 <= value < 2**31:
            self.fail(key, "not a size; correct it")
        return value

    def number(self, key, default):
        """Returns a number; where it is absent or null, the default."""
        value = self.values.get(key)
        if value is None:
            return default
        if type(value) not in (int, float) or not abs(value) < 1e30:
            self.fail(key, "not a number below 1e30; correct it")
        return value

    def block(self, key, default=NOTHING):
        """Returns the rows and columns of a block."""
        value = self.get(key, list, default)
        if value is not default and (len(value) != 2 or not all(type(side) is int and 1 <= side < 2**31 for side in value)):
            self.fail(key, "not the rows and columns of a block; correct it")
        return value if value is default else tuple(value)

    def at(self, key, default=NOTHING):
        """Returns the options below a key."""
        value = self.get(key, dict, default)
        return value if value is default else Options(value, f"{self.prefix}{key}.")
