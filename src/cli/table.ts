import { styleText } from "node:util";

/** null is shown as "-"; numbers are aligned to the right. */
export type Cell =
  string | number | null | { readonly text: string; readonly colour: "green" | "red" | "yellow" };

const GAP = "  ";

/** Columns under their headings, without a newline at the end. Coloured: strip it where colour is unwelcome. */
export function renderTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => plain(row[column]).length)),
  );
  const last = headings.length - 1;
  const right = headings.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const line = (cells: readonly Cell[]) =>
    cells
      .map((cell, column) => {
        const isRight = right[column] === true;
        return pad(cell, column === last && !isRight ? 0 : (widths[column] ?? 0), isRight);
      })
      .join(GAP);
  return [line(headings), ...rows.map(line)].join("\n");
}

function pad(cell: Cell, width: number, right: boolean): string {
  const text = right ? plain(cell).padStart(width) : plain(cell).padEnd(width);
  if (cell === null || typeof cell !== "object") return text;
  return styleText(cell.colour, text, { validateStream: false });
}

function plain(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return "-";
  return typeof cell === "object" ? cell.text : String(cell);
}
