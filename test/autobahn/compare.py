"""Compares the outcome of the Autobahn suite with the expectation, case by case.

compare.py [--accept] index.json expected.json

The expectation maps a case to "behaviour of the messages / behaviour of the close" in
the suite's own words, or to a list of them where timing decides. A case that did not run is no difference, so that a part of the
suite can be run on its own; a case that is not in the expectation is one.
"""
import json
import sys


def order(case):
    return [int(part) for part in case.split(".")]


def outcomes(index):
    with open(index) as file:
        (agent,) = json.load(file).values()
    return {case: "%(behavior)s / %(behaviorClose)s" % result for case, result in agent.items()}


def allowed(expected, case):
    value = expected.get(case, [])
    return [value] if isinstance(value, str) else value


def main(args):
    accept = args[:1] == ["--accept"]
    index, expectation = args[-2:]
    got = outcomes(index)
    if not got:
        raise SystemExit("autobahn: no case ran")
    if accept:
        with open(expectation, "w") as file:
            json.dump({case: got[case] for case in sorted(got, key=order)}, file, indent=0)
            file.write("\n")
        print("autobahn: %d cases written to %s" % (len(got), expectation))
        return
    with open(expectation) as file:
        expected = json.load(file)
    different = [case for case in sorted(got, key=order) if got[case] not in allowed(expected, case)]
    for case in different:
        print("autobahn: case %s is %s, expected %s" % (case, got[case], " or ".join(allowed(expected, case)) or "nothing"))
    counts = {}
    for outcome in got.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    summary = ", ".join("%d %s" % (counts[outcome], outcome) for outcome in sorted(counts))
    print("autobahn: %d cases (%s), %d differ from the expectation" % (len(got), summary, len(different)))
    if different:
        sys.exit(1)


main(sys.argv[1:])
