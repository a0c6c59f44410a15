"""Anomaly groups: the types of a class that become normal together, as one normality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nand_core.datasets.files import check_clashes, check_name
from nand_core.datasets.layout import GOOD
from nand_core.errors import NandError, nearest

Groups = Mapping[str, Sequence[str]]


def group_of_type(
    class_name: str, types: Collection[str], groups: Groups, ignored: Collection[str]
) -> dict[str, str]:
    """type -> group for the anomaly ``types`` of a class; a type in no group is not in it and stays abnormal.

    Raises NandError for a group that is empty, names an unknown or ignored type or one of another group, or
    after which no abnormal image would be left (section 4 of the paper needs both kinds for an AUROC).
    """
    check_clashes(groups, f"dataset.groups.{class_name}")
    assigned: dict[str, str] = {}
    for group, members in groups.items():
        key = f"dataset.groups.{class_name}.{group}"
        check_name("group", group)
        if group == GOOD:
            raise NandError(f"{key}: 'good' names the normal images; rename the group")
        if not members:
            raise NandError(f"{key}: names no anomaly type; add one or remove the group")
        for member in members:
            if member in ignored:
                raise NandError(
                    f"{key}: {member!r} is in dataset.ignore_types; take it out of one of the two"
                )
            if member not in types:
                raise NandError(f"{key}: unknown anomaly type {member!r}{nearest(member, types)}")
            if member in assigned:
                raise NandError(f"{key}: {member!r} is in the group {assigned[member]!r} too; keep it in one")
            assigned[member] = group
        if not set(types) - set(members):
            raise NandError(
                f"class {class_name!r}: making {group!r} normal leaves no abnormal image; split the "
                "group, or name the other classes in dataset.classes"
            )
    return assigned
