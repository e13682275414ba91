"""The user's own training command as a probe, in the order of its life; `tasks/command` puts them together.

interpreter     which Python it starts, if any
template        the command with its placeholders, and the arguments that it becomes; a config file with placeholders
hooked          weight decay and seed of a torch training that has no flags for them
process         running these arguments as a process group that never outlives us, and its log
output          what the command printed or wrote, and the metric in it
recognised      what libraries print that is no JSON
run_dir         results in what it left in {run_dir}
metric_pattern  the number that a regular expression finds
steps           how many steps it says that it trained
"""
