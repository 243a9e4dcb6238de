// What there is to say of an event in Chinese, by its code. The server says it in English; what peers and the system
// have said stays as it is.

const ZH = {
  speaks: "{0}",
  closed: "对方关闭了连接",
  reset: "对方重置了连接",
  failed: "连接失败：{0}",
  protocol: "对方不符合协议：{0}",
  ended: "流已结束",
  origin: "源站结束了流：{0}",
  fault: "服务器内部故障：{0}",
  idle: "长时间没有数据",
  stalled: "长时间不接收数据",
  refused: "被拒绝：{0}",
  limit: "超出限制：{0}",
  replaced: "被另一个推流者取代",
  kicked: "被管理员断开",
  drained: "服务器正在关闭",
  denied_network: "该地址不允许（deny：{0}）",
  denied_address: "该地址不在 allow 之内",
  denied_missing: "缺少参数 {0}",
  denied_long: "参数过长",
  denied_expired: "令牌已于 {0} 秒前过期",
  denied_early: "令牌尚未生效",
  denied_secret: "密钥无效：{0}",
  denied_token: "令牌无效：{0}",
  denied_edge: "边缘令牌无效：{0}",
  denied_no_edge: "本服务器只服务于自己的边缘",
  denied_site: "该网站不允许",
  denied_hook: "回调服务器未放行：{0}",
  full: "没有空位：{0}",
  missing: "没有这个流：{0}",
  unfit: "无法以此格式播放：{0}",
  unavailable: "暂时不可用：{0}",
  origin_no: "源站拒绝：{0}",
  loop: "推流形成环路：{0}",
  memory: "内存不足，无法接收新的流（limits.memory）",
  taken: "该流已有人推送",
  client: "客户端 {0}",
  origin_back: "{0}",
  origin_fault: "{0}：{1}",
  file: "{0}（{1} 秒）",
  reloaded: "{0}：{1}",
  reloaded_same: "{0}：没有变化",
  reload_fault: "{0}：{1}",
};

/** What the server calls the causes of reloads. */
const CAUSES = { "API request": "API 请求", "the file has changed": "文件已更改" };

/** What there is to say of `event` in this language. */
export function detail(event, language) {
  if (language !== "zh" || !Object.hasOwn(ZH, event.code ?? "")) return event.detail;
  const values = (event.values ?? []).map((value) => CAUSES[value] ?? value);
  if (event.code === "speaks" && values[1]) return `${values[0]}（${values[1]}）`;
  return ZH[event.code].replace(/\{(\d)\}/g, (_, at) => values[at] ?? "");
}
