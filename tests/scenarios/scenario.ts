/**
 * A scenario is a script for a few consensus cores, with what is to come of it:
 *
 *     # A server that a majority votes for leads.              one sentence: the name of the test
 *     # Covers: E1; Raft §5.2, figure 2                        lines of the guarantees, and sources
 *     # Pending: membership changes                            only where something is not built yet
 *                                                              then prose, commands and results in turn
 *     # Prose.
 *     elect 0
 *         0: leader, term 1 (vote 0), log 1                    four spaces: what the command shows
 *
 * A line holds one command, or some with `;` between them. It shows what was noted on the way, then every server
 * whose state is another than before (role, term, vote, last log index, commit index; what is 0 or nobody is left
 * out), then what it was asked for. An entry is `term:command`, a no-op `term:-`; a position in a log is
 * `index(term)`. A configuration is `{0,1,(2)}`, non-voters in parentheses; it is shown where it is not the first one.
 *
 *     cluster N [timeouts=15,…] [batch=N] [bytes=N] [window=N]
 *                              N new servers, 0 to N-1: election timeouts in ticks (10 to 20, heartbeats every 3),
 *                              entries and bytes an AppendEntries, AppendEntries under way to one follower
 *     given IDS [log=1,1:x,…] [term=N] [vote=ID] [snapshot=I(T)]     what some of them recover from their disks;
 *                              with a snapshot, the log that follows it
 *     tick IDS|all [N]         time passes, and nothing else happens
 *     run N                    N ticks for everyone, everything delivered in each
 *     elect ID [by IDS]        ID times out, and (only) these, who hear no leader any more, get its calls
 *     timeout ID N             from its next start on, the timer of ID runs for N ticks
 *     propose ID WORD…         clients' commands, in one turn
 *     deliver [LINK…]          what is under way (there), oldest first; not what is sent on account of it
 *     drop [LINK…]             it is lost, and its sender is told that no answer comes
 *     copy [LINK…]             each request arrives once more
 *     settle [IDS]             delivers (between these) until nothing is under way
 *     cut LINK, cut IDS|IDS    what arrives there from now on is lost: one way, both ways; `heal` mends it all
 *     join ID                  a server waits to be added: the next new one, or one that was removed and lost its disk
 *     change ID add=N [at=ADDRESS] | promote=N | remove=N        ID is to change the configuration
 *     transfer ID [to=N]       ID is to make way
 *     read ID                  ID is asked up to where a read must have applied the log
 *     ask ID vote|pre-vote|append|snapshot|timeout-now from=ID term=N [last=I(T)] [after=I(T)] [entries=1:x,…]
 *                              [commit=N] [upto=I(T)]
 *     hold-disk IDS|all        their writes wait; without it they are durable at once; `free-disk IDS|all` ends it
 *     persist ID [N]           the N oldest writes that wait (1) are durable
 *     compact ID [through=N]   it has taken a snapshot of what it has applied, and forgets entries up to N (all those)
 *     fill-disk IDS|all        their writes find no room, and they know it; `make-room IDS|all` ends it
 *     replace-disk ID          down, it loses all that it had saved, and is made anew under its id
 *     crash IDS [keep=N]       what waits is lost, but the N oldest writes; `restart IDS`
 *     trace on|off             shows every message that is sent
 *     status [IDS], log [IDS], disk [IDS], network [LINK…]
 *
 * A link is FROM->TO, each an id, some ids or `*`; FROM->TO:N is the Nth message under way on it. In a table of
 * logs `|` ends what a server knows to be committed, `?` marks what it has not made durable, and `~` what has gone
 * into a snapshot.
 *
 * Every command is followed by the checks of one server (src/raft/invariants.ts), of what left it, and between
 * all servers (Raft figure 3).
 */
import { ScenarioCommands } from "./scenario-commands.ts";

const INDENT = "    ";

export interface Scenario {
  readonly title: string;
  readonly covers: string;
  /** What has to be built before it can run; null when nothing is missing. */
  readonly pending: string | null;
  /** The whole file. */
  readonly text: string;
}

export function readScenario(text: string): Scenario {
  const [title] = text.split("\n", 1);
  const covers = headerOf(text, "Covers");
  if (title === undefined || !title.startsWith("# ") || covers === null) {
    throw new Error("a scenario opens with a sentence and what it covers");
  }
  return { title: title.slice(2).replace(/\.$/, ""), covers, pending: headerOf(text, "Pending"), text };
}

function headerOf(text: string, name: string): string | null {
  return new RegExp(`^# ${name}: (.+)$`, "m").exec(text)?.[1] ?? null;
}

/** The file as it would stand if everything that comes of it now were expected. */
export function runScenario({ text }: Scenario): string {
  const commands = new ScenarioCommands();
  const lines: string[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.startsWith(INDENT)) continue;
    lines.push(line);
    if (line === "" || line.startsWith("#")) continue;
    lines.push(...runLine(commands, line, i + 1).map((shown) => `${INDENT}${shown}`));
  }
  return lines.join("\n");
}

function runLine(commands: ScenarioCommands, line: string, lineNumber: number): readonly string[] {
  try {
    return commands.runLine(line.split(";").map((command) => command.trim().split(/\s+/)));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`line ${lineNumber}, "${line}": ${message}`, { cause: error });
  }
}
