"""What docs/mergekit.md says: pairs of a YAML and a recipe, and the names of the differences."""
import re


def pairs(text):
    """(heading, YAML, recipe) of each section that has both, in order."""
    found = []
    for section in re.split(r"^### ", text, flags=re.M)[1:]:
        heading = section.split("\n", 1)[0].strip()
        blocks = dict(re.findall(r"^```(yaml|merge)\n(.*?)^```$", section, flags=re.M | re.S))
        if "yaml" in blocks and "merge" in blocks:
            found.append((heading, blocks["yaml"], blocks["merge"]))
    return found


def recipes(text):
    """(heading, recipe) of each section that has one."""
    for section in re.split(r"^### ", text, flags=re.M)[1:]:
        for recipe in re.findall(r"^```merge\n(.*?)^```$", section, flags=re.M | re.S):
            yield section.split("\n", 1)[0].strip(), recipe


def differences(text):
    """The names in bold that open the rows of the last section."""
    return re.findall(r"^\| \*\*(.+?)\*\* \|", text.split("## What is different", 1)[-1], flags=re.M)
