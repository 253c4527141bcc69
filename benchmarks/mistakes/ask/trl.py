"""Ask TRL: the parser of its command, and what it makes of the options of PEFT and bitsandbytes."""

from asking import judge, run

if __name__ == "__main__":
    run(judge("trl").judge)  # nothing in it but TRL's own code, and that there are data and a folder for the output
