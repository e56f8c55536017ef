/** Commits per week, as bars without numbers. The label gives the figures. */
export function Weeks({ activity, small = false }: { activity: number[]; small?: boolean }) {
  const most = Math.max(1, ...activity);
  const total = activity.reduce((sum, commits) => sum + commits, 0);
  const label = `${total.toLocaleString()} commits in ${activity.length} weeks, at most ${most.toLocaleString()} in one week`;
  return (
    <svg
      role="img"
      aria-label={label}
      className={small ? "chart spark" : "chart"}
      viewBox={`0 0 ${activity.length * 4} 24`}
      height={small ? 24 : 120}
      preserveAspectRatio="none"
    >
      <title>{label}</title>
      {activity.map((commits, week) => {
        const height = commits && Math.max(1, (commits / most) * 24);
        return <rect key={week} x={week * 4} y={24 - height} width={3} height={height} />;
      })}
    </svg>
  );
}
