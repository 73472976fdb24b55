"""What is wrong in a run, why, and what to try: one rule for each way in which a run goes wrong.

    for finding in judge(RunLog(catalog, run)):
        print(finding.state, finding.rule.title, finding.evidence)

`rule` says what a rule and a finding are, `run_log` reads what rules look at, each further module has the rules of one
family, and `registry` knows them all. Nothing here writes: `store/writing/findings_file.py` keeps states over time.
"""
