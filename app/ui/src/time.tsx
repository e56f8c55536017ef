const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** Return how long ago a moment was: "3 minutes ago". A moment in the future (a clock that is ahead) is "now". */
export function ago(moment: string, now = Date.now()): string {
  return words(now - Date.parse(moment), -1);
}

/** Return the time until a moment: "in 3 hours". A moment in the past is "now". */
export function ahead(moment: string, now = Date.now()): string {
  return words(Date.parse(moment) - now, 1);
}

function words(milliseconds: number, sign: 1 | -1): string {
  const seconds = Math.max(0, milliseconds / 1000);
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? ["second", 1];
  return relative.format(sign * Math.floor(seconds / length), unit);
}

export const Ago = ({ at }: { at: string }) => <Time at={at} words={ago(at)} />;
export const Ahead = ({ at }: { at: string }) => <Time at={at} words={ahead(at)} />;

export function Time({ at, words }: { at: string; words: string }) {
  return (
    <time dateTime={at} title={new Date(at).toLocaleString()}>
      {words}
    </time>
  );
}
